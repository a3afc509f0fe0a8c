"""All domains, in the order in which the generator knows them."""

from t5x_tasks.support_chats.model import Domain
from t5x_tasks.support_chats.scenarios.appliances import APPLIANCES
from t5x_tasks.support_chats.scenarios.appointments import APPOINTMENTS
from t5x_tasks.support_chats.scenarios.bank import BANK
from t5x_tasks.support_chats.scenarios.car_rental import CAR_RENTAL
from t5x_tasks.support_chats.scenarios.deliveries import DELIVERIES
from t5x_tasks.support_chats.scenarios.energy import ENERGY
from t5x_tasks.support_chats.scenarios.events import EVENTS
from t5x_tasks.support_chats.scenarios.flights import FLIGHTS
from t5x_tasks.support_chats.scenarios.hotels import HOTELS
from t5x_tasks.support_chats.scenarios.insurance import INSURANCE
from t5x_tasks.support_chats.scenarios.internet import INTERNET
from t5x_tasks.support_chats.scenarios.orders import ORDERS
from t5x_tasks.support_chats.scenarios.restaurants import RESTAURANTS
from t5x_tasks.support_chats.scenarios.software import SOFTWARE
from t5x_tasks.support_chats.scenarios.subscriptions import SUBSCRIPTIONS
from t5x_tasks.support_chats.scenarios.trains import TRAINS

DOMAINS: tuple[Domain, ...] = (
    ORDERS,
    DELIVERIES,
    HOTELS,
    RESTAURANTS,
    FLIGHTS,
    TRAINS,
    CAR_RENTAL,
    INTERNET,
    ENERGY,
    APPLIANCES,
    APPOINTMENTS,
    INSURANCE,
    EVENTS,
    BANK,
    SUBSCRIPTIONS,
    SOFTWARE,
)
